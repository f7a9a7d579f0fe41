"""What type checkers read in place of the names that are imported when first used."""

from .algorithms.bpmf import LLMTokensBPMF as LLMTokensBPMF
from .algorithms.content import LLMTokensContent as LLMTokensContent
from .algorithms.ease import LLMTokensEASE as LLMTokensEASE
from .algorithms.svd import LLMTokensSVD as LLMTokensSVD
from .encode import HashingEncoder as HashingEncoder
from .encode import ImageEncoder as ImageEncoder
from .encode import SentenceEncoder as SentenceEncoder
from .encode import StaticEncoder as StaticEncoder
from .storage.models import load as load
from .tokens import LLMTokens as LLMTokens
from .tokens.reducer import TokenReducer as TokenReducer

__version__: str
