"""Makes a service's data anew beside what is there, and puts it in its place in one transaction: readers are served throughout.

`shadow` gives a session in which empty twins stand for tables, so that the service's own code fills them unchanged; `read_models` fills
them from the store's events, `records` makes the events themselves anew from Kafka, for a service that only follows topics. The service
may run or stand still meanwhile. Used by `millrace rebuild`; no service imports it.
"""
