"""demo placeholder until wired"""
