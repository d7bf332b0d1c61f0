"""The wire: topics, binary codecs, the MQTT session, and brokers to run locally."""
