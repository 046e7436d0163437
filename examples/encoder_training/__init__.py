"""The parts of `train_encoder.py`: samples, their degradation, and the training loop."""
