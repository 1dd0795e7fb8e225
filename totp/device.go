package totp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stepup-auth/stepup/internal/store"
)

func (r *Recipe) createDevice(ctx context.Context, in CreateDeviceInput) (CreateDeviceResult, error) {
	d, err := r.newDevice(in)
	if err != nil {
		return CreateDeviceResult{}, err
	}
	account := in.UserIdentifierInfo
	if account == "" {
		account, err = r.functions.GetUserIdentifierInfoForUserID(ctx, GetUserIdentifierInfoForUserIDInput{UserID: in.UserID})
		if err != nil {
			return CreateDeviceResult{}, err
		}
	}
	secret, err := r.random(secretBytes)
	if err != nil {
		return CreateDeviceResult{}, fmt.Errorf("totp: random secret: %w", err)
	}
	defer clear(secret)
	if d, err = r.add(ctx, d, secret); err != nil {
		return CreateDeviceResult{}, err
	}
	text := encodeSecret(secret)
	return CreateDeviceResult{
		DeviceName: d.name, Secret: text, QRCodeString: otpauthURL(r.issuer, account, text, d.period),
	}, nil
}

func (r *Recipe) importDevice(ctx context.Context, in ImportDeviceInput) (ImportDeviceResult, error) {
	secret, err := decodeSecret(in.Secret)
	if err != nil {
		return ImportDeviceResult{}, err
	}
	defer clear(secret)
	d, err := r.newDevice(in.CreateDeviceInput)
	if err != nil {
		return ImportDeviceResult{}, err
	}
	d.verified = true
	if d, err = r.add(ctx, d, secret); err != nil {
		return ImportDeviceResult{}, err
	}
	return ImportDeviceResult{DeviceName: d.name}, nil
}

// newDevice checks the input and fills in the defaults. The name is still empty if none was asked for.
func (r *Recipe) newDevice(in CreateDeviceInput) (device, error) {
	if err := errors.Join(checkUserID(in.UserID), checkText("userIdentifierInfo", in.UserIdentifierInfo)); err != nil {
		return device{}, err
	}
	if in.DeviceName != "" {
		if err := checkNewName(in.DeviceName); err != nil {
			return device{}, err
		}
	}
	d := device{userID: in.UserID, name: in.DeviceName, skew: r.skew, period: r.period, createdAt: r.env.Now().UnixMilli()}
	if in.Skew != nil {
		d.skew = *in.Skew
	}
	if d.skew < 0 || d.skew > maxSkew {
		return device{}, badInput("skew must be 0 to %d", maxSkew)
	}
	if in.Period != 0 {
		var ok bool
		if d.period, ok = seconds(in.Period); !ok {
			return device{}, badInput("period must be whole seconds, 1 to %d", maxPeriod)
		}
	}
	id, err := r.newID()
	if err != nil {
		return device{}, fmt.Errorf("totp: random id: %w", err)
	}
	d.id = id
	return d, nil
}

// add writes the device. Of several that are made at once under one name the last one stays.
func (r *Recipe) add(ctx context.Context, d device, secret []byte) (device, error) {
	now := time.UnixMilli(d.createdAt)
	wanted := d.name
	err := r.change(ctx, d.userID, now, func(ctx context.Context, devices []device) error {
		d.name = wanted
		if d.name == "" {
			d.name = freeName(devices)
		}
		if err := r.room(devices, d); err != nil {
			return err
		}
		ok, err := r.put(ctx, d, secret)
		if err != nil {
			return err
		}
		if !ok {
			return ErrDeviceAlreadyExists
		}
		if d.verified {
			r.imported(ctx, d.userID)
		}
		return nil
	})
	return d, err
}

// freeName counts on from the number of verified devices and passes over the names that verified devices have.
func freeName(devices []device) string {
	verified := 0
	taken := map[string]bool{}
	for _, d := range devices {
		if d.verified {
			verified++
			taken[d.name] = true
		}
	}
	for n := verified + 1; ; n++ {
		if name := fmt.Sprintf("TOTP Device %d", n); !taken[name] {
			return name
		}
	}
}

// room refuses a device for which there is no place. One that was not verified makes place for another of its name.
func (r *Recipe) room(devices []device, added device) error {
	verified, waiting := 0, 0
	for _, d := range devices {
		switch {
		case d.verified && d.name == added.name:
			return ErrDeviceAlreadyExists
		case d.verified:
			verified++
		case d.name != added.name:
			waiting++
		}
	}
	if verified >= r.maxDevices || !added.verified && waiting >= r.maxDevices {
		return ErrTooManyDevices
	}
	return nil
}

func (r *Recipe) updateDevice(ctx context.Context, in UpdateDeviceInput) error {
	err := errors.Join(checkUserID(in.UserID), checkText("deviceName", in.ExistingDeviceName), checkNewName(in.NewDeviceName))
	if err != nil {
		return err
	}
	return r.change(ctx, in.UserID, r.env.Now(), func(ctx context.Context, devices []device) error {
		renamed, found := byName(devices, in.ExistingDeviceName)
		if !found {
			return ErrUnknownDevice
		}
		if other, taken := byName(devices, in.NewDeviceName); taken {
			if other.id == renamed.id {
				return nil
			}
			return ErrDeviceAlreadyExists
		}
		defer r.env.Store.Forget(ctx, store.Facts)
		_, err := r.env.Store.Exec(ctx, renameRow, renamed.id, in.NewDeviceName)
		return err
	})
}

func byName(devices []device, name string) (device, bool) {
	for _, d := range devices {
		if d.name == name {
			return d, true
		}
	}
	return device{}, false
}

func (r *Recipe) listDevices(ctx context.Context, in ListDevicesInput) ([]Device, error) {
	if err := checkUserID(in.UserID); err != nil {
		return nil, err
	}
	if ctx.Value(setUpTestKey{}) != nil {
		return r.verifiedDevices(ctx, in.UserID)
	}
	devices, _, err := r.devices(ctx, in.UserID, r.env.Now())
	if err != nil {
		return nil, err
	}
	public := make([]Device, len(devices))
	for i, d := range devices {
		public[i] = d.public()
	}
	return public, nil
}
