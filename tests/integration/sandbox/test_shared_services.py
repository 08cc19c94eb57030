from __future__ import annotations

import asyncio

import boto3
from confluent_kafka import Consumer, Producer

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server


async def test_a_record_goes_through_the_shared_kafka(kafka: KafkaCluster, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, b"hello")
    await asyncio.to_thread(producer.flush, 20)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    message = await asyncio.to_thread(consumer.poll, 20)
    await asyncio.to_thread(consumer.close)
    assert message is not None
    assert message.value() == b"hello"


async def test_an_object_goes_through_the_shared_s3(s3: S3Server, bucket: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
    )
    client.put_object(Bucket=bucket, Key="folder/object", Body=b"hello")
    assert client.get_object(Bucket=bucket, Key="folder/object")["Body"].read() == b"hello"
    assert bucket in [found["Name"] for found in client.list_buckets()["Buckets"]]
