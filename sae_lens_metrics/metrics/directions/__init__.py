"""What the decoder directions of latents say by themselves: which tokens they write, and which others they are like."""
