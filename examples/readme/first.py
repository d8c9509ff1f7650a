import hashlib

import calyx

with calyx.open("market.db") as market:  # made when there is none
    alice = market.create_wallet(owner_type="human", owner_id="alice")
    host = market.create_wallet(owner_type="human", owner_id="gpu-host-7")
    agent = market.create_wallet(
        owner_type="agent",
        owner_id="research-agent-v1",
        parent=alice,
        spend_cap_per_job=5.00,
        allowed_gpu_types=["RTX 4090", "A100"],
    )
    market.topup(alice, 2000)  # USD 20
    alice.fund(agent, 12.40)

    wallet = calyx.Wallet(api_key=agent.api_key, market=market)  # may do what this key may
    wallet.spend("job-441", 4.00, gpu_type="RTX 4090", host=host)
    try:
        wallet.spend("job-442", 6.00, gpu_type="RTX 4090")
    except calyx.Refused as no:
        print(no)  # spend_cap_per_job: ...

    output = hashlib.sha256(b"the output").hexdigest()
    earned = host.earn("job-441", 3.80, output, "RTX 4090", 10082)
    print(earned.net_payout, "to the host;", agent.balance, "left")  # 3.23 to the host; 8.60 left

    assert earned.receipt.verified
    print(earned.receipt.jws)
