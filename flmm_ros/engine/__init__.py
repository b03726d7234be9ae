"""The engine: a frozen large multimodal model answers, and its attention becomes masks. No ROS.

Shape legend, used by every docstring of the engine:

    N  phrases            T  tokens of one phrase      R  recorded rows (tokens of all phrases)
    L  text layers        A  attention heads           C  map channels (L * A * views)
    S  sequence length    I  image tokens (columns)    D  hidden width of the language model
    h, w  attention grid or coarse mask                H, W  the user's image

Images are RGB uint8 [H, W, 3]. Boxes are (x0, y0, x1, y1) in pixels of the user's image, far edges
exclusive.
"""
