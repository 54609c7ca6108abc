"""One town over HTTP and MCP: thin doors on `services`. Not imported by `tt`; only here is asyncio."""
