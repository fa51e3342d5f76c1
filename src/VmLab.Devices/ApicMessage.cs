namespace VmLab.Devices;

/// <summary>What a message to local APICs asks of them.</summary>
public enum DeliveryMode : byte
{
    Fixed = 0, LowestPriority = 1, SystemManagement = 2, Nmi = 4, Init = 5, StartUp = 6, ExternalInterrupt = 7,
}

/// <summary>An interrupt on its way to one or more local APICs.</summary>
/// <param name="Destination">An APIC identifier, or a logical address; all ones is everybody.</param>
/// <param name="IsLevel">The sender waits for an end of interrupt.</param>
public readonly record struct ApicMessage(
    uint Destination, bool IsLogical, DeliveryMode Mode, byte Vector, bool IsLevel = false)
{
    public const uint Everybody = uint.MaxValue;

    /// <summary>Widens the 8-bit destinations of I/O APICs, message-signalled interrupts and xAPIC commands.</summary>
    public static uint Widen(byte destination) => destination == 0xFF ? Everybody : destination;
}
