"""What tests share: waiting, servers, stand-ins for the programs a town runs."""
