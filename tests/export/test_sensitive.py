"""Which operations belong to the layers that stay in float."""

from kzoo.export.sensitive import float_layers, operations_of
from kzoo.models import DeepLabV1
from kzoo.models.zero_shot import ZS3Net

NAMES = [
    "enc_net_1/context_1/encoding_1/Softmax",
    "enc_net_1/context_1/encoding_1/MatMul;enc_net_1/context_1/encoding_1/transpose_1",
    "enc_net/context/encoding/Tensordot/MatMul1",
    "enc_net_1/context_1/encoding_bn_1/batchnorm/mul_1",
    "mobilenet_v2_1/expanded_conv_project_BN_1/FusedBatchNormV3;mobilenet_v2_1/expanded_conv_project_1/convolution",
    "mobilenet_v2_1/block_1_project_1/convolution",
    "sa_net_1/attention_c4_1/Sigmoid",
    "sa_net_1/attention_c4_1/restore_1/BiasAdd",
    "Resize__360",
]


def test_layers_are_found_by_the_parts_of_a_path():
    def found(*layers):
        return [NAMES.index(name) for name in operations_of(layers, NAMES)]

    assert found("encoding/") == [0, 1, 2]
    assert found("encoding/(?!.*MatMul)") == [0]
    assert found("encoding/(?!.*MatMul)", "encoding_bn/") == [0, 3]
    assert found("expanded_conv_project") == [4]
    assert found("attention_c[1-4]/.*Sigmoid") == [6]
    assert found("ding/") == found() == []


def test_of_a_crf_only_the_matrix_products_are_quantised(network):
    names = ["refinement_1/Conv2D_9", "refinement_1/depthwise_2", "refinement_1/Exp_3"]
    assert operations_of(float_layers(network, "int8"), names) == names[1:]


def test_sums_of_scores_stay_in_float_where_there_are_several_scales():
    names = [
        "deep_lab_v1_1/add_2",
        "deep_lab_v1_1/to_input_size_3/ResizeBilinear",
        "StatefulPartitionedCall:0",
        "deep_lab_v1_1/vgg16_1/block_2_add_1/Add",
    ]
    several, one = (DeepLabV1(3, backbone="vgg16", multi_scale=scales) for scales in (True, False))
    assert operations_of(float_layers(several, "int8"), names) == names[:3]
    assert not operations_of(float_layers(one, "int8"), names)


def test_the_logits_of_a_zero_shot_classifier_stay_in_float():
    """Those of unseen classes may have a range of their own."""
    model = ZS3Net(3, unseen=(2,), ignored=(), embedding_size=4, backbone="mobilenet_v2", align_corners=False)
    names = [
        "zs3_net_1/classifier_1/convolution",
        "zs3_net_1/to_input_size_1/ResizeBilinear",
        "zs3_net_1/head_1/concat",
    ]
    assert operations_of(float_layers(model, "int8"), names) == names[:2]
