using NUnit.Framework.Constraints;
using VmLab.Core;

namespace VmLab.Guests.Tests;

/// <summary>Is met by a delegate that ends in a message to the user.</summary>
static class Refused
{
    /// <param name="parts">What the message has in it.</param>
    public static IResolveConstraint Saying(params string[] parts)
    {
        var constraint = Throws.TypeOf<LabException>().With.Message.Contains(parts[0]);
        foreach (string part in parts[1..]) constraint = constraint.And.Message.Contains(part);
        return constraint;
    }
}
