"""From failures to pairs: ask an Oracle, verify what it proposes, measure the edit."""
