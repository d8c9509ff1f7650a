"""calyx: an engine for GPU-compute markets, inside your process.

Open a market file, and agents pay hosts for computed results and hold receipts that anybody can verify:

>>> import calyx
>>> with calyx.open("market.db") as market:
...     owner = market.create_wallet(owner_type="human", owner_id="alice")
...     agent = market.create_wallet(owner_type="agent", owner_id="research-agent-v1", parent=owner,
...                                  spend_cap_per_job=5.00, allowed_gpu_types=["RTX 4090", "A100"])
...     host = market.create_wallet(owner_type="human", owner_id="gpu-farm")
...     market.topup(owner, 2000)
...     owner.fund(agent, 12.40)
...     agent.spend("job-441", 4.00, gpu_type="RTX 4090")
...     earned = host.earn("job-441", 3.80, "4d8e…", "RTX 4090", 10082)
...     assert earned.receipt.verified

Amounts are FLOPS (1 FLOPS is USD 0.01): pass int, float, str or Decimal, get :class:`Flops`. What goes wrong is
a subclass of :class:`Error` whose ``reason`` says what.
"""

from __future__ import annotations

from . import plot, recipes
from ._native import __version__
from .artifacts import Artifact
from .commands import Commands, DataSource
from .errors import (
    Conflict,
    Corrupt,
    Error,
    Internal,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Refused,
    Stopped,
    Unavailable,
    Unsupported,
)
from .identity import SignedRequest, SignInChallenge
from .jobs import (
    Job,
    JobEstimate,
    JobEvent,
    JobFailed,
    JobNews,
    JobProgress,
    JobResults,
    JobState,
    JobTask,
    Lease,
    Prices,
    Recipe,
    TaskCall,
    Worker,
)
from .market import (
    AuditReport,
    ConsistencyProof,
    Granted,
    InclusionProof,
    Market,
    ReceiptAudit,
    Response,
    Session,
    Stats,
    WaitlistApproved,
    WaitlistEntry,
    open,
    recompute_receipt,
)
from .keys import derive_key
from .money import Amount, Flops
from .payments import (
    PaidCall,
    Payment,
    PaymentAnswer,
    PaymentChallenge,
    PaymentNetwork,
    PaymentRound,
    PaymentTerms,
    Quote,
    Settlement,
    SettlementAnswer,
    SimulatedTokens,
    VerifiedPayment,
)
from .projects import KvEntry, Project, ProjectDetails, ProjectFile, ProjectNews, ProjectStatus, Revision
from .receipt import Receipt, Verdict, verify_receipt
from .wallet import (
    KEEP,
    ApiKey,
    Approval,
    Earn,
    Earned,
    Entry,
    Escrow,
    IssuedKey,
    Moved,
    Operation,
    Payout,
    Release,
    Released,
    Spend,
    Spent,
    TopUp,
    Transfer,
    Wallet,
    WalletState,
)
from .webhooks import CallbackRules, WebhookRequest, WebhookRound, WebhookVerdict, verify_webhook

__all__ = [
    "Amount",
    "ApiKey",
    "Approval",
    "Artifact",
    "AuditReport",
    "CallbackRules",
    "Commands",
    "Conflict",
    "ConsistencyProof",
    "Corrupt",
    "DataSource",
    "Earn",
    "Earned",
    "Entry",
    "Error",
    "Escrow",
    "Flops",
    "Granted",
    "InclusionProof",
    "Internal",
    "Invalid",
    "IssuedKey",
    "Job",
    "JobEstimate",
    "JobEvent",
    "JobFailed",
    "JobNews",
    "JobProgress",
    "JobResults",
    "JobState",
    "JobTask",
    "KEEP",
    "KvEntry",
    "Lease",
    "Market",
    "Moved",
    "NotFound",
    "Operation",
    "OutcomeUnknown",
    "PaidCall",
    "Payment",
    "PaymentAnswer",
    "PaymentChallenge",
    "PaymentNetwork",
    "PaymentRound",
    "PaymentTerms",
    "Payout",
    "Prices",
    "Project",
    "ProjectDetails",
    "ProjectFile",
    "ProjectNews",
    "ProjectStatus",
    "Quote",
    "Receipt",
    "ReceiptAudit",
    "Recipe",
    "Refused",
    "Release",
    "Released",
    "Response",
    "Revision",
    "Session",
    "Settlement",
    "SettlementAnswer",
    "SignInChallenge",
    "SignedRequest",
    "SimulatedTokens",
    "Spend",
    "Spent",
    "Stats",
    "Stopped",
    "TaskCall",
    "TopUp",
    "Transfer",
    "Unavailable",
    "Unsupported",
    "Verdict",
    "VerifiedPayment",
    "WaitlistApproved",
    "WaitlistEntry",
    "Wallet",
    "WalletState",
    "WebhookRequest",
    "WebhookRound",
    "WebhookVerdict",
    "Worker",
    "__version__",
    "derive_key",
    "open",
    "plot",
    "recipes",
    "recompute_receipt",
    "verify_receipt",
    "verify_webhook",
]
