"""Networks from names and arguments: what does not fit is named."""

import pytest

from kzoo.models import create_model


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"filtres": 3}, "EncNet has no argument 'filtres'. Did you mean 'filters'"),
        ({"filters": "abc"}, "EncNet's argument 'filters': expected a whole number or null, got 'abc' (text)."),
        ({"backbone": 5}, "EncNet's argument 'backbone': expected a text, got 5 (whole number)."),
        ({"backbone_args": "x"}, "EncNet's argument 'backbone_args': expected a mapping"),
        ({"backbone_args": {"widht": 1}}, "mobilenet_v2 has no argument 'widht'. Did you mean 'width'"),
        ({"backbone_args": {"width": "x"}}, "mobilenet_v2's argument 'width': expected a number, got 'x' (text)."),
        ({"lateral": "c2"}, "lateral: expected true, false or a list of names. Received: 'c2'"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(args, message):
    with pytest.raises(ValueError) as error:
        create_model("encnet", 3, {"backbone": "mobilenet_v2", **args})
    assert str(error.value).startswith(message)
