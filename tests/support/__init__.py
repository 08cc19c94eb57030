"""What tests share: services, fault-injecting proxies, test data, checkers. As clean as the product; no test lives here."""
