"""turnout inside other frameworks, one module each: LiteLLM's proxy, LangChain, Ray Serve, Ray Data.

Each module imports its framework, so import the one you need: ``from turnout.integrations.langchain import RoutedModel``.
"""
