"""The operations that an export may contain: all that a network and its preprocessing compute.

None of them touches files, network, processes or Python. A test compares the list with the exports
of all pipelines, and with what TensorFlow says of each operation.
"""

ALLOWED = frozenset(
    # Values and variables; control flow within the graph.
    """
    Assert AssignAddVariableOp AssignSubVariableOp AssignVariableOp CheckNumerics CheckNumericsV2
    Const DestroyResourceOp DisableCopyOnRead EnsureShape FakeParam Identity IdentityN NoOp
    Placeholder PlaceholderWithDefault PreventGradient ReadVariableOp ResourceGather
    ResourceGatherNd StopGradient VarHandleOp VarIsInitializedOp VariableShape
    Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While
    """
    # Numbers.
    """
    Abs Acos Acosh Add AddN AddV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh BesselI0
    BesselI0e BesselI1 BesselI1e Betainc BitwiseAnd BitwiseOr BitwiseXor Bucketize Ceil ClipByValue
    Complex ComplexAbs Conj Cos Cosh Cross CumulativeLogsumexp Cumprod Cumsum Digamma Div DivNoNan
    Elu Equal Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual Igamma Igammac
    Imag Inv Invert IsFinite IsInf IsNan LeakyRelu LeftShift Less LessEqual Lgamma Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr Maximum Minimum Mod Mul MulNoNan Ndtri Neg NextAfter
    NotEqual Polygamma PopulationCount Pow Real RealDiv Reciprocal Relu Relu6 RightShift Rint Round
    Rsqrt Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Square SquaredDifference Sub Tan
    Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
    """
    # Arrays.
    """
    All Any ArgMax ArgMin BatchToSpace BatchToSpaceND Bincount Bitcast BroadcastArgs BroadcastTo
    Cast Concat ConcatOffset ConcatV2 DenseBincount DepthToSpace Diag DiagPart DynamicPartition
    DynamicStitch Empty EuclideanNorm ExpandDims ExtractImagePatches ExtractVolumePatches Fill
    Gather GatherNd GatherV2 HistogramFixedWidth InTopK InTopKV2 InvertPermutation LinSpace ListDiff
    LowerBound MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
    MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 Max Mean Min MirrorPad
    NthElement OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch Prod RaggedBincount
    RaggedFillEmptyRows RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
    RaggedTensorToTensor RaggedTensorToVariant Range Rank Reshape Reverse ReverseSequence ReverseV2
    Roll ScatterNd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Shape
    ShapeN Size Slice SpaceToBatch SpaceToBatchND SpaceToDepth SparseFillEmptyRows SparseReorder
    SparseReshape SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SparseTensorDenseAdd
    SparseTensorDenseMatMul SparseToDense Split SplitV Squeeze StridedSlice Sum
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
    TensorStridedSliceUpdate Tile TopK TopKV2 Transpose Unique UniqueV2 UniqueWithCounts Unpack
    UnravelIndex UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum UpperBound Where ZerosLike
    EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
    TensorListResize TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
    """
    # Layers and linear algebra.
    """
    AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Cholesky Conv2D
    Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput Einsum FFT FFT2D FFT3D FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 IFFT IFFT2D IFFT3D IRFFT IRFFT2D L2Loss LRN MatMul MatrixDeterminant
    MatrixInverse MatrixSolve MatrixTriangularSolve MaxPool MaxPool3D MaxPoolV2
    MaxPoolWithArgmax Qr RFFT RFFT2D SelfAdjointEigV2 Svd
    SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits
    """
    # Random numbers.
    """
    Multinomial RandomIndexShuffle RandomShuffle RandomStandardNormal RandomUniform
    RandomUniformInt StatelessMultinomial StatelessRandomGammaV3 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2
    TruncatedNormal
    """
    # Images, decoded from the bytes that are given.
    """
    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeAndCropJpeg DecodeBmp DecodeGif
    DecodeImage DecodeJpeg DecodePaddedRaw DecodePng DecodeRaw DecodeWebP ExtractJpegShape HSVToRGB
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppressionV3 RGBToHSV ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
    """
    # Texts, and tables of words that are part of the graph.
    """
    AsString DecodeBase64 ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch
    StaticRegexReplace StringFormat StringJoin StringLength StringLower StringNGrams StringSplit
    StringSplitV2 StringStrip StringToHashBucketFast StringToHashBucketStrong StringToNumber
    StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript
    UnicodeTranscode
    AnonymousHashTable HashTableV2 InitializeTableV2 LookupTableFindV2 LookupTableImportV2
    LookupTableSizeV2
    """.split()
)
