"""Slack's Web API by slack-sdk, for approvals and for notifications."""
