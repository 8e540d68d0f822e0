"""How each package is used: one module a package, each with ``open_reader(threads, folder)``.

Their modules run inside the packages' own environments, by :mod:`worker`.
"""
