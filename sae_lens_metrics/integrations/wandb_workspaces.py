"""W&B's saved workspaces: what is in one."""

from typing import Any

__all__ = ["workspace_content"]


def workspace_content(workspace: Any) -> dict[str, Any]:
    """What is sent to the server as a workspace's content, as JSON types.

    Args:
        workspace: A ``wandb_workspaces.workspaces.Workspace``.
    """
    view = workspace._to_model()  # stands in for a public way to see a workspace without saving it
    return view.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
