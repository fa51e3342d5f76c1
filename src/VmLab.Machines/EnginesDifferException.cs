namespace VmLab.Machines;

/// <summary>Two engines made different states of one: VmLab's own mistake. The message has both states, and the code that parted them.</summary>
/// <param name="since">Machine time, in nanoseconds, at which the states were the same for the last time that was looked.</param>
/// <param name="time">The first at which they differed; the instruction that parted them ended then.</param>
public sealed class EnginesDifferException(ulong since, ulong time, string message) : LabException(message)
{
    public ulong Since => since;

    public ulong Time => time;
}
