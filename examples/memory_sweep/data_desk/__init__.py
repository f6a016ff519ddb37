"""The data desk: questions about tables, answered by a heavy way where there is room for it, and else by a lean one."""
