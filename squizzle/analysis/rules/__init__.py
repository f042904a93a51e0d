"""The rules, one a module: every module of this package that defines RULE is one."""
