"""Where an agent's loop runs. `port` says what a runtime is; each other module is one."""

from agents.runtimes.port import Runtime


def build(name: str) -> Runtime:
    """The runtime with this name. Strands is imported only here: it costs 0.7 s and 25 MiB."""
    if name == "local":
        from agents.runtimes.local import LocalRuntime

        return LocalRuntime()
    if name == "agentcore":
        from agents.runtimes.agentcore import AgentCoreRuntime

        return AgentCoreRuntime()
    raise ValueError(f"There is no runtime named {name!r}.")
