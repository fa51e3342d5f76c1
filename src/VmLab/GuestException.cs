namespace VmLab;

/// <summary>A guest did not do what the script waits for. The message says what, and where the lab stood.</summary>
/// <param name="what">What was awaited, of which machine, and why it did not come.</param>
/// <param name="report">Seed, guest time, and the last console lines.</param>
public class GuestException(string what, string report) : LabException($"{what}{Environment.NewLine}{report}")
{
    public string What => what;
}

/// <summary>An await reached its limit in guest time.</summary>
public sealed class LimitReachedException(string what, string report) : GuestException(what, report);

/// <summary>The machine stopped, or every machine did: powered off, triple-faulted, or stuck.</summary>
public sealed class MachineStoppedException(string what, string report) : GuestException(what, report);

/// <summary>What the script said of the lab by Always or Sometimes is not so.</summary>
public sealed class InvariantException(string what, string report) : GuestException(what, report);

/// <summary>VmLab or the host failed, not the guest.</summary>
public sealed class InfrastructureException(string message, Exception? cause = null) : LabException(message, cause);
