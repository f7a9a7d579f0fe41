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
html_css_files = ["frames.css"]
html_theme_options = {"navigation_with_keys": True}
exclude_patterns = ["build"]
smartquotes = False  # options of the command line begin with two hyphens
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


def _commands(app, docname, source):
    """The reference of the command line, written by Typer from the commands themselves."""
    if docname == "reference/command-line":
        import typer
        from typer.cli import get_docs_for_click

        from llmtokens.cli import app as commands

        click = typer.main.get_command(commands)
        text = get_docs_for_click(obj=click, ctx=click.context_class(click), name="llmtokens")
        source[0] = source[0].replace("<!-- commands -->", text.partition("\n")[2])


def setup(app):
    app.connect("source-read", _commands)
