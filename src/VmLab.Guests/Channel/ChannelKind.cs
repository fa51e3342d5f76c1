namespace VmLab.Guests.Channel;

/// <summary>What a frame says. Requests go to the guest; the others come from it.</summary>
enum ChannelKind : uint
{
    Hello = 1,
    Run = 2,
    Put = 3,
    Data = 4,
    End = 5,
    Get = 6,
    Kill = 7,

    Ready = 0x81,
    Output = 0x82,
    Error = 0x83,
    Exited = 0x84,
    FileContent = 0x85,
    FileEnd = 0x86,
    Stored = 0x87,
    Failed = 0x88,
    Taken = 0x89,
}
