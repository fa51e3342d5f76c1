namespace VmLab.Core;

/// <summary>
/// What a processor's interrupt pins are wired to: a local APIC, behind which the 8259 pair may stand.
/// </summary>
public interface IInterruptSource
{
    /// <summary>INTR: a maskable interrupt that the processor's priority lets through is waiting.</summary>
    bool IsRequested { get; }

    /// <summary>INTA: takes the waiting interrupt into service.</summary>
    /// <returns>Its vector, 0 to 255. Only called while <see cref="IsRequested"/>.</returns>
    byte Acknowledge();

    /// <summary>The task-priority class that MOV CR8 reads and writes, 0 to 15.</summary>
    byte Priority { get; set; }
}
