"""The words and node kinds that are usual in model code, for `static_review`.

Data alone: adding a word here makes the review blind to it. No listed name is a module, and no
listed attribute gives one away; tests hold the lists against the installed libraries.
"""

import ast


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LISTED: dict[str, str] = {
    "__future__": "annotations",
    "collections": "",
    "collections.abc": "Callable Iterable Iterator Mapping Sequence",
    "datasites": "",
    "datasites.desk.entrypoint": "start_round",
    "math": "ceil cos e erf exp floor gamma hypot inf isclose isfinite isinf isnan lgamma log log10"
    " log1p log2 nan pi prod sin sqrt tan tanh tau",
    "numpy": "abs absolute all allclose any arange arccos arcsin arctan arctan2 argmax argmin"
    " argsort array asarray atleast_1d average bincount bool_ ceil clip column_stack concatenate"
    " corrcoef cos cov cumprod cumsum diag diff divide dot dtype e einsum empty empty_like equal"
    " exp expand_dims expm1 eye flip float16 float32 float64 floor full full_like gradient greater"
    " histogram hstack inf int16 int32 int64 int8 interp isclose isfinite isinf isnan less linspace"
    " log log10 log1p log2 logical_and logical_not logical_or matmul max maximum mean median"
    " meshgrid min minimum moveaxis multiply nan nan_to_num nanmax nanmean nanmin nanstd nansum"
    " ndarray newaxis nonzero ones ones_like outer pad percentile pi power prod quantile ravel"
    " repeat reshape roll round searchsorted sign sin sort sqrt square squeeze stack std subtract"
    " sum swapaxes take tan tanh tensordot tile trace transpose trapz tril triu uint8 unique"
    " var vstack where zeros zeros_like",
    "numpy.linalg": "det eigh inv norm qr solve svd",
    "torch": "Size Tensor abs acos add addmm all allclose amax amin any arange argmax argmin argsort"
    " asin atan atan2 baddbmm bfloat16 bincount bmm bool broadcast_to bucketize cat cdist ceil"
    " chunk clamp clip clone concat cos cosh count_nonzero cross cummax cumprod cumsum device diag"
    " diff div dot dtype einsum empty empty_like enable_grad eq erf exp expm1 eye flatten flip"
    " float float16 float32 float64 floor full full_like gather ge gt histc hstack inf int16 int32 int64"
    " int8 is_tensor isclose isfinite isinf isnan le lerp linspace log log10 log1p log2 logical_and"
    " logical_not logical_or logsumexp long lt masked_select matmul max maximum mean median"
    " meshgrid min minimum mm movedim mul multinomial mv nan nan_to_num narrow ne neg no_grad"
    " nonzero norm normal numel ones ones_like outer permute pi pow prod quantile rand rand_like"
    " randint randn randn_like randperm ravel reciprocal relu repeat_interleave reshape roll rot90"
    " round rsqrt scatter scatter_add searchsorted select sigmoid sign sin sinh softmax sort split"
    " sqrt square squeeze stack std sub sum swapaxes take tan tanh tensor tensordot tile topk trace"
    " transpose tril triu uint8 unbind unflatten unique unsqueeze var vstack where zeros"
    " zeros_like",
    "torch.autograd": "grad",
    "torch.func": "functional_call grad vmap",
    "torch.linalg": "det inv matrix_norm norm solve svd vector_norm",
    "torch.nn": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool2d AvgPool1d"
    " AvgPool2d AvgPool3d BCELoss BCEWithLogitsLoss BatchNorm1d BatchNorm2d BatchNorm3d Conv1d"
    " Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CrossEntropyLoss Dropout"
    " Dropout2d Dropout3d ELU Embedding Flatten GELU GRU GroupNorm Hardswish HuberLoss Identity"
    " InstanceNorm2d InstanceNorm3d KLDivLoss L1Loss LSTM LayerNorm LeakyReLU Linear LogSoftmax"
    " MSELoss MaxPool1d MaxPool2d MaxPool3d Module ModuleDict ModuleList MultiheadAttention"
    " NLLLoss PReLU Parameter ParameterList PixelShuffle ReLU ReLU6 ReflectionPad2d Sequential"
    " SiLU Sigmoid SmoothL1Loss Softmax Softplus Tanh TransformerEncoder TransformerEncoderLayer"
    " Unflatten Upsample ZeroPad2d",
    "torch.nn.functional": "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    " adaptive_max_pool2d avg_pool1d avg_pool2d avg_pool3d batch_norm binary_cross_entropy"
    " binary_cross_entropy_with_logits conv1d conv2d conv3d conv_transpose2d conv_transpose3d"
    " cosine_similarity cross_entropy dropout dropout2d dropout3d elu embedding gelu group_norm"
    " grid_sample hardswish huber_loss instance_norm interpolate kl_div l1_loss layer_norm"
    " leaky_relu linear log_softmax logsigmoid max_pool1d max_pool2d max_pool3d mse_loss nll_loss"
    " normalize one_hot pad pixel_shuffle relu relu6 scaled_dot_product_attention sigmoid silu"
    " smooth_l1_loss softmax softplus tanh unfold",
    "torch.nn.init": "constant_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_"
    " trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_",
    "torch.nn.utils": "clip_grad_norm_",
    "torch.optim": "Adam AdamW RMSprop SGD",
    "torch.optim.lr_scheduler": "CosineAnnealingLR ExponentialLR MultiStepLR StepLR",
    "typing": "Any Callable ClassVar Dict Final Iterable Iterator List Literal Mapping Optional"
    " Sequence Set Tuple Union",
}
ALLOWED: dict[str, frozenset[str]] = {module: _words(names) for module, names in _LISTED.items()}
"""Modules that model code imports, and of each the names that it needs."""
BUILTINS = _words(
    "IndexError KeyError NotImplementedError RuntimeError TypeError ValueError abs all any bool dict"
    " divmod enumerate filter float frozenset int isinstance len list map max min next pow property"
    " range reversed round set slice sorted staticmethod str sum super tuple zip"
)
ATTRIBUTES = _words(
    "T abs absolute add add_ add_module addcdiv_ addcmul_ all amax amin any append apply argmax"
    " argmin argsort astype backward bfloat16 bias bmm bool buffers broadcast_to cat ceil"
    " children chunk clamp clamp_ clamp_max clamp_min clip clone contiguous copy copy_ cos count"
    " cpu cumprod cumsum cuda data detach detach_ device diagonal diff dim div div_ dot dtype"
    " endswith eq eval exp expand expand_as extend fill_ flatten flip float floor forward gather ge"
    " get grad groups gt half in_channels in_features index index_add index_select insert int"
    " is_cuda is_floating_point isfinite isnan item items itemsize join keys kernel_size le lerp"
    " log log1p log2 logsumexp long lower lt masked_fill masked_fill_ masked_select matmul max mean"
    " median min mm modules momentum movedim mul mul_ named_buffers named_children"
    " named_parameters narrow ndim ne neg nelement new_empty new_full new_ones new_zeros nonzero"
    " norm normal_ num_features numel numpy out_channels out_features padding param_groups"
    " parameters permute pop pow prod quantile ravel reciprocal register_buffer"
    " register_parameter relu repeat repeat_interleave replace requires_grad requires_grad_"
    " reshape reverse roll round rsqrt running_mean running_var scatter scatter_ scatter_add"
    " scatter_add_ select shape sigmoid sign size softmax sort split sqrt square squeeze startswith"
    " state_dict std step stride strip sub sub_ sum swapaxes t take tanh to tolist topk train"
    " training transpose tril triu unbind unflatten uniform_ unique unsqueeze update upper values"
    " var view view_as weight where zero_ zero_grad clear count_nonzero diag double equal erf"
    " load_state_dict log10 log_softmax maximum minimum nan_to_num remainder reset_parameters rot90"
    " sin tan tile trace union"
)
"""What model code asks of tensors, arrays, layers, optimizers, lists, dictionaries and texts."""
SETTABLE = frozenset({"data", "grad", "requires_grad"})
DECORATORS = frozenset({"property", "staticmethod"})
ERRORS = frozenset(name for name in BUILTINS if name.endswith("Error"))
NODES: tuple[type[ast.AST], ...] = (
    *(ast.Module, ast.FunctionDef, ast.ClassDef, ast.Return, ast.Delete, ast.Assign, ast.AugAssign),
    *(ast.AnnAssign, ast.For, ast.While, ast.If, ast.With, ast.Raise, ast.Assert, ast.Import),
    *(ast.ImportFrom, ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.expr_context, ast.boolop),
    *(ast.operator, ast.unaryop, ast.cmpop, ast.comprehension, ast.arguments, ast.arg, ast.keyword),
    *(ast.alias, ast.withitem, ast.BoolOp, ast.NamedExpr, ast.BinOp, ast.UnaryOp, ast.Lambda),
    *(ast.IfExp, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.Compare, ast.Call, ast.FormattedValue, ast.JoinedStr, ast.Constant, ast.Attribute),
    *(ast.Subscript, ast.Starred, ast.Name, ast.List, ast.Tuple, ast.Slice),
)
MEANINGS: dict[str, str] = {
    "it reads or writes files": "open fromfile from_file tofile genfromtxt loadtxt savetxt"
    " memmap load save savez loads dump dumps pathlib shutil tempfile glob io fileinput zipfile"
    " tarfile linecache DataSource mmap fromregex serialization safetensors",
    "it reaches the network": "socket http urllib requests httpx ftplib smtplib ssl asyncio hub"
    " distributed rpc socketserver xmlrpc",
    "it starts or reaches other programs": "os subprocess multiprocessing signal threading system"
    " popen fork kill pty concurrent sched",
    "it runs code in machine language": "ctypes cffi cpp_extension load_library ops ctypeslib f2py",
    "it reaches raw memory": "data_ptr storage untyped_storage share_memory share_memory_ set_"
    " as_strided frombuffer from_numpy memoryview bytearray",
    "it builds or loads code while running": "eval exec compile pickle marshal importlib __import__"
    " runpy jit codeop export dill cloudpickle shelve",
    "it looks into Python's inner workings": "sys inspect gc traceback gi_frame gi_code cr_frame"
    " ag_frame f_back f_globals f_locals f_builtins f_code tb_frame tb_next func_globals getattr"
    " setattr delattr hasattr vars globals locals dir type object builtins mro weakref atexit license credits copyright",
    "it brings in names that the text does not show": "*",
    "it sets or replaces the source of randomness": "manual_seed seed set_rng_state random"
    " default_generator",
    "it shows something outside of the result": "print breakpoint warnings logging warn help",
    "a text used as a template can climb to what it was not given": "format format_map",
}
MEANING_OF: dict[str, str] = {
    word: meaning for meaning, words in MEANINGS.items() for word in _words(words)
}
UNUSUAL: dict[type[ast.AST], str] = {
    ast.Global: "`global` changes names outside of its function",
    ast.Nonlocal: "`nonlocal` changes names outside of its function",
    ast.Try: "`try` can hide failures and look into their traces",
    ast.TryStar: "`try` can hide failures and look into their traces",
    ast.Match: "`match` takes values apart by the names of their attributes",
    ast.Yield: "`yield` leaves a function half run, with its inner state open to others",
    ast.YieldFrom: "`yield` leaves a function half run, with its inner state open to others",
    ast.AsyncFunctionDef: "`async` code runs at times that cannot be read off the text",
}
PARTS = (ast.ExceptHandler, ast.match_case, ast.pattern, ast.type_ignore)
FIXED = _words(
    "breakpoint classmethod compile copyright credits delattr dir eval exec exit getattr globals"
    " hasattr help license locals memoryview object open print property quit setattr staticmethod"
    " super type vars"
)
"""Built-ins that a text may not give another meaning: a second use elsewhere would look harmless."""
