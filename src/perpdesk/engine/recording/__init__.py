"""Keeping the records of a run: folds of orders and positions, rows, and their order."""

from perpdesk.engine.recording.recorder import StoreRecorder, trading_switch

__all__ = ["StoreRecorder", "trading_switch"]
