"""CT objects: headers, geometry of series, Hounsfield units, keyed ids. Pure functions of bytes and arrays.

Nothing here writes what it read as text: messages name tags, never their values, because values identify patients.
"""
