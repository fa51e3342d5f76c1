using CsCheck;
using VmLab.Core;

namespace VmLab.Guests.Tests;

/// <summary>Ways to spoil a file: cut short anywhere, or with a few bytes changed.</summary>
static class Damage
{
    public static Gen<byte[]> Of(byte[] whole) => Gen.OneOf(
        Gen.Int[0, whole.Length].Select(length => whole[..length]),
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte).Array[1, 8].Select(changes => Changed(whole, changes)));

    /// <summary>Whether the action ends in peace or with a message to the user, and in no other way.</summary>
    public static bool IsRefusedAtMost(Action action)
    {
        try
        {
            action();
        }
        catch (LabException)
        {
        }
        return true;
    }

    static byte[] Changed(byte[] whole, (int Position, byte Value)[] changes)
    {
        byte[] copy = [.. whole];
        foreach ((int position, byte value) in changes) copy[position] = value;
        return copy;
    }
}
