"""Settings of the documentation: ``make docs`` builds it into ``build/docs``."""

import llmtokens

project = "llmtokens"
author = "the llmtokens developers"
copyright = "2026, the llmtokens developers"
version = release = llmtokens.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",
]
html_theme = "furo"
html_title = "llmtokens"
html_static_path = ["static"]
html_theme_options = {"navigation_with_keys": True}
exclude_patterns = ["build"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks carry their output; a test executes them

napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"  # the docstrings give types, shapes and units
autodoc_member_order = "bysource"
autoclass_content = "class"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
