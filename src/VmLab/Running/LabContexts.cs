using Polly;

namespace VmLab.Running;

/// <summary>Polly's contexts, so that every continuation of a pipeline comes back to the lab's pump.</summary>
/// <remarks>Without, Polly goes on on the thread pool while the lab advances, and guest time runs away from the script.</remarks>
sealed class LabContexts(Lab lab) : ResilienceContextPool
{
    public Lab Lab => lab;

    public override ResilienceContext Get(ResilienceContextCreationArguments arguments) => Shared.Get(
        new ResilienceContextCreationArguments(arguments.OperationKey, continueOnCapturedContext: true, arguments.CancellationToken));

    public override void Return(ResilienceContext context) => Shared.Return(context);
}
