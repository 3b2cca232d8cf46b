"""Findings about kinds of SAEs, judged on a grid of them: does a number rise with the number of latents, does TopK beat ReLU?"""
