"""The line before any metric: is the SAE what it claims to be?"""
