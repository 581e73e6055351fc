"""What is loaded from disk and stays over a reload: routers, pools, judges, scorers."""
