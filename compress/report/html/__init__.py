"""The comparison as one HTML file that needs nothing else: no network, no server, no other file.

All text of rows goes through the template or into JSON, both of which escape it. Start at `page`.
"""
