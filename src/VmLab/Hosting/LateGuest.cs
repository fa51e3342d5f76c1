using VmLab.Core;
using VmLab.Guests;

namespace VmLab.Hosting;

/// <summary>What a machine that came from elsewhere boots, should it be powered on anew: nothing is made of it before.</summary>
sealed class LateGuest(Guest guest) : IBootable
{
    public BootEntry Load(GuestMemory memory, BootContext context) =>
        guest.PrepareAsync(new Progress<string>(), CancellationToken.None).GetAwaiter().GetResult().Load(memory, context);
}
