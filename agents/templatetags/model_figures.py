"""The figures of the models, on a page of the desk: the desk itself knows of no agents."""

from django import template

from agents import model_figures
from agents.model_figures import Row
from approvals import permissions
from approvals.insights import Question

register = template.Library()


@register.simple_tag
def model_costs(question: Question) -> list[Row]:
    """For those who see every call; nothing where a tool was asked for, since a model answers for none."""
    if question.tool or not permissions.sees_unasked(question.user):
        return []
    return model_figures.by_agent(question.start, question.now, question.agent)
