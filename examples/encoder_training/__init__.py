"""The parts of `train_encoder.py`: samples, their degradation, and the loop that learns from them."""
