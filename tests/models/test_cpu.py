import torch

from models.encoder import choose_dtype


def test_auto_follows_the_processor() -> None:
    from models.cpu import features

    expected = torch.bfloat16 if "bfloat16" in features() else torch.float32
    assert choose_dtype("auto", torch.device("cpu")) is expected
