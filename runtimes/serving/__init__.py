"""Models served over HTTP and gRPC by the Open Inference Protocol V2.

Its own server and not a framework's: batching has to know which clips may share a call (clips of one length, or of any where the
file takes lengths) and how many frames of the answer are each one's. It needs starlette, uvicorn, grpcio and prometheus-client.
"""
