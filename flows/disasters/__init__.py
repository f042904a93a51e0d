"""How each disaster is played, noticed and recovered from: one module each, with a function `play`.

No flows of their own: the drill is, and plays them. What recovers here are the very functions of an emergency.
"""
