"""The town as a server of the Model Context Protocol: tools, resources and prompts for AI tools and editors."""
