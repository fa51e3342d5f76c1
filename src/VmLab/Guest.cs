using VmLab.Core;
using VmLab.Guests;

namespace VmLab;

/// <summary>What a machine boots, as a value; derive your own kind for what the methods here do not name.</summary>
public abstract record Guest
{
    /// <summary>How the lab knows that the guest is up.</summary>
    public virtual Readiness Readiness => Readiness.PoweredOn;

    /// <summary>Makes the bytes to boot; equal guests of a lab are prepared once. It may take long: a download, an unpacking.</summary>
    /// <exception cref="LabException">What is missing or damaged, and what to do.</exception>
    public abstract IBootable Prepare();
}

/// <summary>When a guest is up, for <see cref="Lab.Boot"/>.</summary>
/// <param name="HasChannel">The guest serves the lab's command channel on its second serial port, and is up when that says so.</param>
/// <param name="ConsoleText">The guest is up when its console shows this; <see langword="null"/> to ask for nothing.</param>
public sealed record Readiness(bool HasChannel, string? ConsoleText)
{
    /// <summary>The guest is up as soon as it is powered on.</summary>
    public static Readiness PoweredOn { get; } = new(HasChannel: false, null);

    public static Readiness Channel { get; } = new(HasChannel: true, null);

    public static Readiness Shows(string text) => new(HasChannel: false, text);
}
