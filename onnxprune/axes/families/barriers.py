"""Operators that stay whole, and why: what is not understood is left alone, and says so."""

from __future__ import annotations

from onnxprune.axes.rules import barrier

STANDARD = {
    "its gates share one axis; recurrent layers stay whole for now": "GRU LSTM RNN CausalConvWithState",
    "its heads share one axis; attention stays whole for now": """
        Attention LinearAttention RotaryEmbedding TensorScatter""",
    "its bodies are graphs of their own, which stay whole for now": "If Loop Scan SequenceMap",
    "sequences and optional values have no axes": """
        ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct SequenceEmpty
        SequenceErase SequenceInsert SequenceLength SplitToSequence""",
    "text has no channels": "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
    "what it draws depends on how much it draws": """
        Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike""",
    "how much it finds depends on the data": "NonMaxSuppression NonZero Unique",
    "it works on integers: quantise with QuantizeLinear and DequantizeLinear, or prune the model before": """
        ConvInteger MatMulInteger QLinearConv QLinearMatMul""",
    "its kernel window is moved by offsets; it has no rule yet": "DeformConv",
    "its indices count across all channels": "MaxUnpool",
    "it makes its output from numbers, not from channels": """
        AffineGrid BlackmanWindow Constant EyeLike HammingWindow HannWindow ImageDecoder MelWeightMatrix""",
    "its frames overlap": "STFT",
    "the number of elements is part of the function": "Size",
    "every slot has a value that no other range has": "Range",
    "it belongs to training": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
}

MICROSOFT = {
    "onnxruntime makes it when it optimises: prune the model before that": """
        BiasAdd BiasDropout BiasSoftmax BiasSplitGelu BitmaskBiasDropout BitmaskDropout ConvTransposeWithDynamicPads
        DynamicQuantizeMatMul FusedConv FusedGemm FusedMatMul FusedMatMulActivation GemmFastGelu MatMulIntegerToFloat
        MaxpoolWithMask NhwcConv NhwcFusedConv NhwcMaxPool TransposeMatMul""",
    "the standard has it too: export with that": "ExpandDims GatherND Pad Range Trilu UnfoldTensor Unique",
    "its heads share one axis; attention stays whole for now": """
        Attention AttnLSTM DecoderAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention
        DynamicSparseAttention GatedRelativePositionBias GemmaRotaryEmbedding GroupQueryAttention LinearAttention
        LinearAttentionGate LongformerAttention MRotaryEmbedding MultiHeadAttention PackedAttention
        PackedMultiHeadAttention PackedSparseAttentionIndexer PagedAttention QAttention QOrderedAttention
        QOrderedLongformerAttention RelativePositionBias RemovePadding RestorePadding RotaryEmbedding SparseAttention
        SparseAttentionIndexer SparsePagedAttention""",
    "its weights are packed: prune the model before they are": """
        DequantizeBFP DequantizeWithOrder GatherBlockQuantized GemmFloat8 MatMulBlockQuantizedFp4Weight
        MatMulBlockQuantizedFp8Weight MatMulBnb4 MatMulFpQ4 MatMulNBits MatMulNBitsMlp MatMulNBitsQkv QMoE
        QOrderedGelu QOrderedLayerNormalization QOrderedMatMul QuantizeBFP QuantizeWithOrder""",
    "it works on integers: quantise with QuantizeLinear and DequantizeLinear, or prune the model before": """
        MatMulInteger16 MulInteger QGemm QLinearConcat QLinearConv QLinearReduceMean ReduceSumInteger""",
    "its gates share one axis; recurrent layers stay whole for now": """
        CausalConvWithState DynamicQuantizeLSTM GatedDeltaNet VarlenCausalConvWithState""",
    "it embeds words": """
        EmbedLayerNormalization EngramGate NGramHashMapping QEmbedLayerNormalization TorchEmbedding
        VarlenNGramHashMapping WordConvEmbedding""",
    "it belongs to a loop that generates text": """
        BeamSearch GreedySearch NGramRepeatBlock Sampling Tokenizer WhisperBeamSearch""",
    "its branches or experts share one axis": """
        BranchwiseRMSNorm GatedRMSNorm HyperConnectionPostMix HyperConnectionPreMix MoE""",
    "onnxruntime has it for other processors only, where a rule could not be checked": """
        ComplexMul ComplexMulConj EPContext GroupNorm Irfft IsAllFinite Rfft SkipGroupNorm Snpe""",
    "it is an example": "SampleOp",
    "it compares all rows with each other": "CDist DynamicTimeWarping",
    "it works on bits or sparse storage": "BifurcationDetector MurmurHash3 SparseToDenseMatMul",
}

LEARNING = {
    "its tables are attributes, which stay whole": """
        ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
        LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
        TreeEnsembleClassifier TreeEnsembleRegressor ZipMap""",
}

TRAINING = {"it belongs to training": "Adagrad Adam Gradient Momentum"}
PREVIEW = {"its heads share one axis; attention stays whole for now": "FlexAttention"}

DOMAINS = {
    "": STANDARD,
    "com.microsoft.": MICROSOFT,
    "ai.onnx.ml.": LEARNING,
    "ai.onnx.preview.": PREVIEW,
    "ai.onnx.preview.training.": TRAINING,
}

for prefix, table in DOMAINS.items():
    for why, operators in table.items():
        barrier(why, *(f"{prefix}{name}" for name in operators.split()))
