"""From a registered model to an endpoint that answers: a server of our own on this machine and in pods.

One server serves one model: it takes requests (Open Inference Protocol v2, TensorFlow Serving's REST), checks them
against the model's signature, joins them, and hands them to worker processes, the only ones in which code of models
runs. It holds several versions at once and decides which one answers.
"""
